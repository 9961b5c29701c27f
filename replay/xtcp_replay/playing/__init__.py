"""A capture played into sinks, at its own pace or faster."""
