// Node's HTTP server with a record: answers `own METHOD target`, and appends `METHOD target` to the file that it
// was given. Prints its port; ends with its standard input.
'use strict';
const fs = require('node:fs');
const http = require('node:http');

const record = process.argv[2];
const server = http.createServer({ keepAliveTimeout: 60000 }, async (request, response) => {
  const line = `${request.method} ${request.url}`;
  try {
    for await (const piece of request) void piece;
  } catch {
    return; // Never whole, so no request.
  }
  fs.appendFileSync(record, `${line}\n`);
  response.end(`own ${line}`);
});
server.on('clientError', (error, socket) => {
  // A connection that ends within a request is none that was not understood.
  const cut = ['ECONNRESET', 'HPE_INVALID_EOF_STATE'].includes(error.code);
  if (!cut) fs.appendFileSync(record, `! ${error.code}\n`);
  socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume().on('end', () => process.exit(0));
