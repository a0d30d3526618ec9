"""What every role's process needs: settings, secrets on disk, logs, the change-stream follower."""
