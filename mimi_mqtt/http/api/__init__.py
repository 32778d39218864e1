"""The REST API at /api/v1: one module a resource, each route a thin function.

A route declares who may call it (`access`), has an input and an output model, makes one call into `commands`,
`fleet`, `files`, `people` or `memory`, and answers; what these raise becomes a problem document (`problems`).
FastAPI is imported with the first request (`loading`), as a start must not wait for it. `http.app` mounts it.
"""
