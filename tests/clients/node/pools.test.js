// ioredis and node-redis when their connections are killed, idle, or lose their server for a while.
const Redis = require('ioredis');
const { createClient } = require('redis');
const { run, assert, port } = require('./common');

const connect = (options) => new Redis({ host: '127.0.0.1', port, ...options });

async function until(what, condition) {
  while (!(await condition())) await new Promise((done) => setTimeout(done, 10));
  return what;
}

const named = async (admin, name) =>
  (await admin.client('LIST', 'NAME', name)).split('\n').filter((line) => line !== '');

run({
  'ioredis reconnects after CLIENT KILL by id, address, name and type': async () => {
    const admin = connect();
    const r = connect({ connectionName: 'victim', db: 3 });
    r.on('error', () => {});
    await r.set('k', 'v');
    const kills = [
      async () => admin.client('KILL', 'ID', await r.client('ID')),
      async () => admin.client('KILL', 'NAME', 'victim'),
      async () => admin.client('KILL', 'TYPE', 'normal', 'SKIPME', 'yes', 'DB', '3'),
      async () => {
        const line = (await named(admin, 'victim'))[0];
        return (await admin.client('KILL', /addr=(\S+)/.exec(line)[1])) === 'OK' ? 1 : 0;
      },
    ];
    for (const kill of kills) {
      const before = await r.client('ID');
      const closed = new Promise((done) => r.once('close', done));
      assert.equal(Number(await kill()), 1);
      await closed;
      assert.equal(await r.get('k'), 'v'); // waits in the offline queue until it is connected again
      assert.notEqual(await r.client('ID'), before);
      assert.equal(await r.client('GETNAME'), 'victim');
    }
    await Promise.all([r.quit(), admin.quit()]);
  },
  'ioredis: commands under way when the connection is killed are sent again': async () => {
    const admin = connect();
    const r = connect({ connectionName: 'resender', maxRetriesPerRequest: null, retryStrategy: () => 1 });
    r.on('error', () => {}); // a reset while it writes
    let killed = 0;
    for (let round = 0; round < 50; round++) {
      const sets = Array.from({ length: 100 }, (_, i) => r.set(`r${round}:${i}`, i));
      killed += Number(await admin.client('KILL', 'NAME', 'resender'));
      assert.deepEqual(await Promise.all(sets), Array(100).fill('OK'));
      assert.equal(await r.get(`r${round}:99`), '99');
    }
    assert.ok(killed > 0);
    await Promise.all([r.quit(), admin.quit()]);
  },
  'many clients are killed at once and all come back': async () => {
    const admin = connect();
    const clients = Array.from({ length: 50 }, () => connect({ connectionName: 'crowd', retryStrategy: () => 5 }));
    clients.forEach((c) => c.on('error', () => {}));
    await Promise.all(clients.map((c, i) => c.set(`crowd${i}`, i)));
    const closed = clients.map((c) => new Promise((done) => c.once('close', done)));
    assert.equal(Number(await admin.client('KILL', 'NAME', 'crowd')), 50);
    await Promise.all(closed);
    const got = await Promise.all(clients.map((c, i) => c.get(`crowd${i}`)));
    got.forEach((v, i) => assert.equal(v, String(i)));
    assert.equal((await named(admin, 'crowd')).length, 50);
    await Promise.all(clients.map((c) => c.quit()));
    await until('they have left', async () => (await named(admin, 'crowd')).length === 0);
    await admin.quit();
  },
  'node-redis: ping interval, library name, kill and reconnect': async () => {
    const admin = connect();
    const r = createClient({
      socket: { host: '127.0.0.1', port, reconnectStrategy: () => 5 }, name: 'noderedis', pingInterval: 20,
    });
    const errors = [];
    r.on('error', (e) => errors.push(e));
    await r.connect();
    await r.set('nk', 'v');
    assert.match((await named(admin, 'noderedis'))[0], / lib-name=node-redis/);
    const commands = async () => Number(/tot-cmds=(\d+)/.exec((await named(admin, 'noderedis'))[0])[1]);
    const before = await commands();
    await until('it pings while it is idle', async () => (await commands()) > before + 2);
    for (let i = 0; i < 5; i++) {
      const ready = new Promise((done) => r.once('ready', done));
      assert.equal(Number(await admin.client('KILL', 'NAME', 'noderedis')), 1);
      await ready;
      assert.equal(await r.get('nk'), 'v');
    }
    assert.ok(errors.length > 0); // it told about it
    await r.disconnect();
    await admin.quit();
  },
  'a connection without commands stays': async () => {
    const r = connect({ keepAlive: 10 });
    const id = await r.client('ID');
    await until('a second of silence', async () => {
      await new Promise((done) => setTimeout(done, 1100));
      return true;
    });
    assert.equal(await r.client('ID'), id);
    await r.quit();
  },
});
