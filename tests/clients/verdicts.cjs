// What the drivers of Node share: the one JSON line that says how each check went.
'use strict';

// Runs each check (it throws where something is wrong), prints the line, and ends.
async function report(client, checks) {
  const said = {};
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      said[name] = 'ok';
    } catch (error) {
      said[name] = `${error}; ${error.cause ?? ''}`.slice(0, 300);
    }
  }
  console.log(JSON.stringify({ client, checks: said }));
  process.exit(0);
}

module.exports = { report };
