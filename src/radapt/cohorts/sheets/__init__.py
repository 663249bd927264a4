"""Tables as people have them: CSV of every dialect, Excel and parquet, read as text."""
