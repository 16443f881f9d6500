"""The ledger on a MongoDB server. pymongo and bson are imported in this package alone."""

from attendance.ledger.mongo.ledger import MongoLedger

__all__ = ["MongoLedger"]
