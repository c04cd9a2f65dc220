// fetch keeps at most 64 idle connections, for all servers together.
//
// Expected: a client that visits 65 or 100 servers in turn finds its idle connections again, as with 64 servers. RFC 9112
// §9.4 asks clients to limit their connections to a server, not the number of servers. Other clients have a setting.
// What happens: the longest idle connection makes room for the next one. In turn, that is always the one needed next.
// What it costs: a proxy with more than 64 busy servers opens a connection for nearly each request.

setTimeout(() => end(false), 14_000).unref();

/** Visits so many servers in turn, and returns new connections and requests per second after the first round. */
async function visit(count: number, rounds = Math.ceil(3_000 / count)) {
  let connections = 0;
  const servers = Array.from({ length: count }, () => {
    const seen = new Set<number>();
    return Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch(request, server) {
        const port = server.requestIP(request)?.port ?? 0;
        if (!seen.has(port)) connections += 1;
        seen.add(port);
        return new Response("ok");
      },
    });
  });
  const round = async () => {
    for (const { url } of servers) await (await fetch(url)).text();
  };
  await round();
  connections = 0;
  const start = performance.now();
  for (let i = 0; i < rounds; i += 1) await round();
  const requests = rounds * count;
  const perSecond = Math.round((requests * 1_000) / (performance.now() - start));
  await Promise.all(servers.map((server) => server.stop(true)));
  console.log(`${count} servers: ${requests} requests, ${connections} new connections, ${perSecond} requests/s`);
  return { connections, perSecond };
}

function end(isReproduced: boolean): never {
  console.log(isReproduced ? "REPRODUCED" : "NOT REPRODUCED");
  process.exit();
}

// The first servers warm the program up.
await visit(8);
const fits = await visit(64);
const tooMany = await visit(65);
const many = await visit(100);
console.log(`100 servers: ${((100 * many.perSecond) / fits.perSecond).toFixed(0)} % of the requests/s of 64`);
end(fits.connections === 0 && tooMany.connections > 0 && many.connections > 0);
