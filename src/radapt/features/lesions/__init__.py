"""Where lesions lie, found inside a fold by a small segmenter, and the features of crops around them."""
