"""What a report says of groups of patients: scores, gaps between them, and shortcuts."""
