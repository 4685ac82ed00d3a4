"use strict";

const http = require("node:http");

const { DRYCC_APP = "this app", WORKFLOW_RELEASE = "no release", GREETING = "Hello" } = process.env;

const server = http.createServer((request, response) => {
  response.setHeader("Content-Type", "text/plain; charset=utf-8");
  if (request.url === "/healthz") {
    response.end("ok\n");
  } else {
    response.end(`${GREETING} from ${DRYCC_APP} ${WORKFLOW_RELEASE}\n`);
  }
});

server.listen(Number(process.env.PORT || 5000), process.env.HOST || "0.0.0.0", () => {
  console.log(`listening on ${server.address().port}`);
});

process.on("SIGTERM", () => {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
});
