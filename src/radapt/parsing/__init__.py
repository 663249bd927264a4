"""Files that data come in, read within bounds: a damaged or hostile file is an error with a sentence, soon."""
