"""What a search takes over from earlier studies (--learn-from): their best configurations, and a prior."""
