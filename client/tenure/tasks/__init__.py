"""Tasks: functions that run as jobs, checked where they are enqueued and typed all the way.

Programs take what they need from `tenure`: `App`, `Retry`, `Depends`, `current_job` and the rest.
"""
