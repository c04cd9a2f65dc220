import { expect, test } from "bun:test";
import { systemClock } from "../../../src/clock.ts";
import { checkCertificate } from "../../../src/doctor/certificate.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { makeTlsAuthority, type TlsPair } from "../../support/tls-authority.ts";

const DAY_MS = 24 * 60 * 60 * 1_000;

test("checkCertificate tells the end of a pair, warns before it, and fails after it and for a pair that does not fit", async () => {
  using dir = tempDir();
  const authority = await makeTlsAuthority(dir.path);
  const [pair, other] = [await authority.issue("a"), await authority.issue("b")];
  const check = ({ certFile, keyFile }: Pick<TlsPair, "certFile" | "keyFile">, days = 0) =>
    checkCertificate(
      { tls: { certFile, keyFile, clientCaFile: undefined, port: 0, isOnly: false, minVersion: "1.2" } },
      { ...systemClock, now: () => systemClock.now() + days * DAY_MS },
    );
  expect(await check(pair)).toMatchObject({ state: "ok" });
  expect((await check(pair)).detail).toContain("DNS:localhost");
  expect((await check(pair, 16)).state).toBe("warn");
  expect((await check(pair, 21)).state).toBe("fail");
  expect((await check(pair, -2)).state).toBe("fail");
  expect((await check({ certFile: pair.certFile, keyFile: other.keyFile })).state).toBe("fail");
  expect((await check({ certFile: "/none", keyFile: pair.keyFile })).state).toBe("fail");
  expect((await checkCertificate({ tls: undefined }, systemClock)).state).toBe("skip");
});
