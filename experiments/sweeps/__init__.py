"""Many runs at once on machines that come and go: what is asked, who works, who writes."""
