"""Images and columns of the table together: the mean of what another protocol and a logistic regression answer."""
