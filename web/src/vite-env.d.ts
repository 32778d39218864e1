/// <reference types="svelte" />
/// <reference types="vite/client" />

// The types of the API, generated from its OpenAPI document by `npm run types`.
