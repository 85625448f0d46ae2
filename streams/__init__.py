"""What happens: the Faust app and one module per agent."""
