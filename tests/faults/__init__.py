"""The fault list: one test a row, named `test_fault_NN_…` (docs/faults.md has the list)."""
