// server.reload({ tls }) keeps the old certificate, without a word.
//
// Expected: new connections get the new certificate, or reload() throws. Node has server.setSecureContext().
// What happens: the call returns, and every new connection still gets the old certificate.
// What it costs: a renewed certificate has no effect until it has expired for all clients; a revoked client CA still counts.
import { generateKeyPairSync, sign } from "node:crypto";
import { connect } from "node:tls";

setTimeout(() => end(false), 14_000).unref();

/** A self-signed certificate with this common name, valid from 2020 to 2049, in DER by hand (RFC 5280 §4.1). */
function certify(name: string): { key: string; cert: string } {
  const der = (tag: number, ...parts: Uint8Array[]) => {
    const body = Buffer.concat(parts);
    const size = body.length;
    const length = size < 128 ? [size] : size < 256 ? [0x81, size] : [0x82, size >> 8, size & 255];
    return Buffer.concat([Uint8Array.of(tag, ...length), body]);
  };
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const algorithm = der(0x30, der(0x06, Buffer.from("2a8648ce3d040302", "hex")));
  const subject = der(
    0x30,
    der(0x31, der(0x30, der(0x06, Buffer.from("550403", "hex")), der(0x0c, Buffer.from(name)))),
  );
  const times = der(0x30, ...["200101000000Z", "491231235959Z"].map((time) => der(0x17, Buffer.from(time))));
  const spki = publicKey.export({ type: "spki", format: "der" });
  const body = der(0x30, der(0x02, Uint8Array.of(1)), algorithm, subject, times, subject, spki);
  const signature = der(0x03, Uint8Array.of(0), sign("sha256", body, privateKey));
  const cert = der(0x30, body, algorithm, signature).toString("base64").replaceAll(/.{64}/g, "$&\n");
  return {
    key: privateKey.export({ type: "pkcs8", format: "pem" }),
    cert: `-----BEGIN CERTIFICATE-----\n${cert}\n-----END CERTIFICATE-----\n`,
  };
}

const handler = () => new Response("ok");
const server = Bun.serve({ port: 0, hostname: "127.0.0.1", tls: certify("old"), fetch: handler });

/** The common name of the certificate that a new connection gets. */
function readName(): Promise<unknown> {
  return new Promise((resolve) => {
    const client = connect({ port: server.port ?? 0, host: "127.0.0.1", rejectUnauthorized: false }, () => {
      resolve(client.getPeerCertificate().subject.CN);
      client.destroy();
    });
  });
}

function end(isReproduced: boolean): never {
  console.log(isReproduced ? "REPRODUCED" : "NOT REPRODUCED");
  process.exit();
}

const before = await readName();
server.reload({ tls: certify("new"), fetch: handler });
const after = await readName();
console.log(`certificate before reload(): ${String(before)}; after: ${String(after)}`);
end(before === "old" && after === "old");
