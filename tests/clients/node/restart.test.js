// A server that ends and comes back on the same port while ioredis and node-redis hold connections to it. Whoever
// runs this restarts the server when it reads "restart", and says so by a line on our standard input.
const readline = require('node:readline');
const Redis = require('ioredis');
const { createClient } = require('redis');
const { run, assert, port } = require('./common');

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function restart() {
  console.log('restart');
  await lines.next();
}

run({
  'ioredis comes back with its name and its database': async () => {
    const r = new Redis({ host: '127.0.0.1', port, connectionName: 'back', db: 4, retryStrategy: () => 20,
                          maxRetriesPerRequest: null });
    r.on('error', () => {});
    await r.set('k', 'v');
    await restart();
    assert.equal(await r.get('k'), null);
    await r.set('k', 'w');
    assert.equal(await r.get('k'), 'w');
    assert.equal(await r.client('GETNAME'), 'back');
    assert.match(await r.client('INFO'), / db=4 /);
    await r.quit();
  },
  'ioredis queues what is sent while the server is away': async () => {
    const r = new Redis({ host: '127.0.0.1', port, retryStrategy: () => 20, maxRetriesPerRequest: null });
    r.on('error', () => {});
    await r.ping();
    const closed = new Promise((done) => r.once('close', done));
    const back = restart();
    await closed;
    const replies = await Promise.all(Array.from({ length: 100 }, (_, i) => r.set(`q${i}`, i)));
    await back;
    assert.deepEqual(replies, Array(100).fill('OK'));
    assert.equal(await r.dbsize(), 100);
    await r.quit();
  },
  'node-redis comes back': async () => {
    const r = createClient({ socket: { host: '127.0.0.1', port, reconnectStrategy: () => 20 }, name: 'back' });
    r.on('error', () => {});
    await r.connect();
    await r.set('k', 'v');
    const ready = new Promise((done) => r.once('ready', done));
    await restart();
    await ready;
    assert.equal(await r.get('k'), null);
    assert.equal(await r.clientGetName(), 'back');
    await r.disconnect();
  },
});
