"""What `radapt audit` reads and answers."""
