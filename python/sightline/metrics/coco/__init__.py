"""COCO's files: read into columns, evaluated by the protocol of COCO."""
