"""What a report says of groups of patients: scores and gaps between them."""
