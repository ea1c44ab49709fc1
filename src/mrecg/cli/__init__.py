"""What stands behind the verbs of the command line; each module is imported when its verb is called."""
