"""`python -m tenure.worker.child`."""

from tenure.worker.child.process import main

main()
