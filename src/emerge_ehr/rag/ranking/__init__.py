"""What retrievers share: documents, how specific a neighbour is, and how a patient's other evidence ranks it."""
