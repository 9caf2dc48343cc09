"""Several nodes in one room: the others, called satellites, tell one of them, the hub, what they hear.

What they tell is personal. It goes over the site's own network, sealed to the hub's certificate, from machine to
machine within the building; nothing of it is ever published over MQTT.
"""
