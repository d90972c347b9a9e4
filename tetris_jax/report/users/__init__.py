"""The report of users' clicks: summary, figures, and models beside each other."""
