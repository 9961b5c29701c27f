"""Rows to a Kafka topic.

target    what the destination says
messages  batches to messages, and messages that are too large to halves
producer  the sink: librdkafka's producer, and what its reports say
opening   the destination
"""
