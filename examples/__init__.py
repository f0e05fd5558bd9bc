"""Programs that use Tenure, run by the tests."""
