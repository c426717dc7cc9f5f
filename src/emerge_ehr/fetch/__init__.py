"""Files over HTTP: from PhysioNet and from Dataverse, complete and verified."""
