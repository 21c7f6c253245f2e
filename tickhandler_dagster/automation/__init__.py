"""What happens without somebody pressing a button: sensors that alert, jobs that repair."""
