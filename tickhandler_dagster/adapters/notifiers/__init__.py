"""Ways on which a message leaves: Slack, a webhook, e-mail, a file."""
