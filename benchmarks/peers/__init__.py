"""What people glue together instead of Millrace, to be measured beside it."""
