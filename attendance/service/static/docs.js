"use strict";

window.addEventListener("DOMContentLoaded", () => {
  SwaggerUIBundle({
    // Without the name and password that the page's own address may carry.
    url: new URL("openapi.json", window.location.origin + window.location.pathname).href,
    dom_id: "#swagger-ui",
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    tryItOutEnabled: true,
    validatorUrl: null,
  });
});
