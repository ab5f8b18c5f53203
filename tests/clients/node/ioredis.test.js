// ioredis against Anax: prints one line per test, then "N passed, M failed".
const Redis = require('ioredis');
const { run, assert, port } = require('./common');

const connect = (options) => new Redis({ host: '127.0.0.1', port, lazyConnect: false, ...options });

run({
  'set and get': async () => {
    const r = connect();
    assert.equal(await r.set('k', 'v'), 'OK');
    assert.equal(await r.get('k'), 'v');
    assert.equal(await r.get('missing'), null);
    await r.quit();
  },
  'binary keys and values': async () => {
    const r = connect();
    const key = Buffer.from([0, 13, 10, 255, 128]);
    const value = Buffer.alloc(70000, 0xfe);
    await r.set(key, value);
    assert.ok((await r.getBuffer(key)).equals(value));
    await r.quit();
  },
  'pipeline of 10000': async () => {
    const r = connect();
    const p = r.pipeline();
    for (let i = 0; i < 5000; i++) p.set(`p${i}`, `v${i}`).get(`p${i}`);
    const replies = await p.exec();
    assert.equal(replies.length, 10000);
    for (let i = 0; i < 5000; i++) {
      assert.deepEqual(replies[2 * i], [null, 'OK']);
      assert.deepEqual(replies[2 * i + 1], [null, `v${i}`]);
    }
    await r.quit();
  },
  'automatic pipelining': async () => {
    const r = connect({ enableAutoPipelining: true });
    const n = 2000;
    await Promise.all(Array.from({ length: n }, (_, i) => r.set(`a${i}`, i)));
    const got = await Promise.all(Array.from({ length: n }, (_, i) => r.get(`a${i}`)));
    got.forEach((v, i) => assert.equal(v, String(i)));
    await r.quit();
  },
  'expiry': async () => {
    const r = connect();
    await r.set('e', 'v', 'PX', 60);
    assert.ok((await r.pttl('e')) > 0);
    await new Promise((done) => setTimeout(done, 150));
    assert.equal(await r.get('e'), null);
    await r.quit();
  },
  'counters and bits': async () => {
    const r = connect();
    await r.del('n');
    assert.equal(await r.incr('n'), 1);
    assert.equal(await r.incrby('n', 41), 42);
    assert.equal(await r.incrbyfloat('n', 0.5), '42.5');
    await r.setbit('b', 7, 1);
    assert.equal(await r.getbit('b', 7), 1);
    assert.equal(await r.bitcount('b'), 1);
    await r.quit();
  },
  'an error rejects and does not break the connection': async () => {
    const r = connect();
    await r.set('s', 'text');
    await assert.rejects(r.incr('s'), /value is not an integer or out of range/);
    await assert.rejects(r.call('NOSUCH', 'a'), /unknown command/);
    assert.equal(await r.get('s'), 'text');
    await r.quit();
  },
  'select keeps databases apart': async () => {
    const r = connect({ db: 5 });
    await r.set('only-in-5', '1');
    const other = connect({ db: 6 });
    assert.equal(await other.get('only-in-5'), null);
    await Promise.all([r.quit(), other.quit()]);
  },
  'scan stream': async () => {
    const r = connect({ db: 7 });
    await r.flushdb();
    const p = r.pipeline();
    for (let i = 0; i < 1000; i++) p.set(`s${i}`, 'v');
    await p.exec();
    const seen = new Set();
    for await (const keys of r.scanStream({ count: 100 })) keys.forEach((k) => seen.add(k));
    assert.equal(seen.size, 1000);
    await r.quit();
  },
  'reconnects after its connection is cut': async () => {
    const r = connect({ connectionName: 'cut-me' });
    await r.set('before', '1');
    const id = await r.client('ID');
    r.stream.destroy();
    assert.equal(await r.get('before'), '1');
    assert.notEqual(await r.client('ID'), id);
    assert.equal(await r.client('GETNAME'), 'cut-me');
    await r.quit();
  },
  'many clients at once': async () => {
    const clients = Array.from({ length: 100 }, () => connect());
    const replies = await Promise.all(clients.map((c, i) => c.set(`m${i}`, i).then(() => c.get(`m${i}`))));
    replies.forEach((v, i) => assert.equal(v, String(i)));
    await Promise.all(clients.map((c) => c.quit()));
  },
  'info is understood': async () => {
    const r = connect({ enableReadyCheck: true });
    assert.match(await r.info(), /redis_version:\d+\.\d+/);
    await r.quit();
  },
});
