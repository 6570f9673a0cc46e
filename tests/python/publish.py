"""Publishes notifications as ckanext-queue's publisher did in 2011, with carrot's successor kombu.

Usage: publish.py AMQP_URL SITE_ID < notifications, one JSON object a line:
{"routing_key": "Package", "operation": "changed", "payload": {...}}
"""

import json
import sys

from kombu import Connection, Exchange, Producer


def main(url, site_id):
    # carrot's publisher: a durable topic exchange named after the site, the class name as routing key, JSON.
    exchange = Exchange(site_id, type="topic", durable=True, auto_delete=False)
    with Connection(url, transport_options={"confirm_publish": True}) as connection:
        producer = Producer(connection.channel(), exchange=exchange, serializer="json")
        for line in sys.stdin:
            notification = json.loads(line)
            message = {
                "routing_key": notification["routing_key"],
                "operation": notification["operation"],
                "payload": notification["payload"],
            }
            producer.publish(message, routing_key=notification["routing_key"])


if __name__ == "__main__":
    main(*sys.argv[1:])
