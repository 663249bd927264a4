"""The charts of a report: SVG drawn from plain records, in the colours of the page's style sheet."""
