// node-redis against Anax, RESP2 and RESP3: prints one line per test, then "N passed, M failed".
const { createClient, RESP_TYPES } = require('redis');
const { run, assert, port } = require('./common');

const connect = (options) => createClient({ socket: { host: '127.0.0.1', port }, ...options })
  .on('error', () => {}).connect();

const tests = {};
for (const RESP of [2, 3]) {
  const name = (text) => `${text} (RESP${RESP})`;
  tests[name('set and get')] = async () => {
    const c = await connect({ RESP });
    assert.equal(await c.set('k', 'v'), 'OK');
    assert.equal(await c.get('k'), 'v');
    assert.equal(await c.get('missing'), null);
    await c.close();
  };
  tests[name('binary')] = async () => {
    const c = (await connect({ RESP })).withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    const key = Buffer.from([0, 13, 10, 255, 128]);
    const value = Buffer.alloc(70000, 0xfe);
    await c.set(key, value);
    assert.ok((await c.get(key)).equals(value));
    await c.close();
  };
  tests[name('10000 commands at once')] = async () => {
    const c = await connect({ RESP });
    const replies = await Promise.all(Array.from({ length: 10000 }, (_, i) =>
      (i % 2 ? c.get(`p${i - 1}`) : c.set(`p${i}`, String(i)))));
    replies.forEach((v, i) => assert.equal(v, i % 2 ? String(i - 1) : 'OK'));
    await c.close();
  };
  tests[name('options of SET')] = async () => {
    const c = await connect({ RESP });
    await c.del('o');
    assert.equal(await c.set('o', '1', { condition: 'NX', expiration: { type: 'EX', value: 100 } }), 'OK');
    assert.equal(await c.set('o', '2', { condition: 'NX' }), null);
    assert.equal(await c.set('o', '3', { GET: true, expiration: 'KEEPTTL' }), '1');
    const ttl = await c.ttl('o');
    assert.ok(ttl > 90 && ttl <= 100);
    await c.close();
  };
  tests[name('errors')] = async () => {
    const c = await connect({ RESP });
    await c.set('s', 'text');
    await assert.rejects(c.incr('s'), /not an integer/);
    await assert.rejects(c.sendCommand(['NOSUCH']), /unknown command/);
    assert.equal(await c.get('s'), 'text');
    await c.close();
  };
  tests[name('name, database, hello')] = async () => {
    const c = await connect({ RESP, name: 'node-redis', database: 4 });
    assert.equal(await c.clientGetName(), 'node-redis');
    await c.set('in4', '1');
    assert.equal((await c.clientInfo()).db, 4);
    await c.close();
  };
  tests[name('scan')] = async () => {
    const c = await connect({ RESP, database: 8 });
    await c.flushDb();
    await Promise.all(Array.from({ length: 500 }, (_, i) => c.set(`s${i}`, 'v')));
    const seen = new Set();
    for await (const keys of c.scanIterator({ COUNT: 50 })) keys.forEach((k) => seen.add(k));
    assert.equal(seen.size, 500);
    await c.close();
  };
  tests[name('config and time')] = async () => {
    const c = await connect({ RESP });
    assert.equal((await c.configGet('databases')).databases, '16');
    await c.configSet('timeout', '0');
    assert.match(await c.info('server'), /redis_version/);
    await c.close();
  };
}
run(tests);
