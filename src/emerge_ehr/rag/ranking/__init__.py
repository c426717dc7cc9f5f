"""What retrievers share: documents, how specific a neighbour is, what a patient's other evidence says of it."""
