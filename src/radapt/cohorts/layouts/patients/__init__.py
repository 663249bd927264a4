"""The layout `patients`: a folder per patient, and per visit, with files named by sequence or numbered."""
