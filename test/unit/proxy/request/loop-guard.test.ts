import { expect, test } from "bun:test";

import { addPass, checkLoop, countPasses } from "../../../../src/proxy/request/loop-guard.ts";

test.each([
  ["", 0],
  ["cdn.test", 0],
  ["opensandbox-ingress", 1],
  ["OpenSandbox-Ingress", 1],
  ["a, opensandbox-ingress ;v=1,opensandbox-ingress", 2],
  ["opensandbox-ingress\t;x, \topensandbox-ingress , b", 2],
  ["opensandbox-ingress-2, my-opensandbox-ingress, opensandbox-ingress:80, opensandbox-ingress.test", 0],
  ["a; b=opensandbox-ingress", 0],
  ['a; b="never closed, opensandbox-ingress, opensandbox-ingress', 2],
  ["opensandbox-ingress,".repeat(1_000), 3],
])("countPasses of %j is %d", (field, passes) => {
  expect(countPasses(field)).toBe(passes);
});

test("checkLoop allows three passes and refuses the fourth, whatever the client put before them", () => {
  for (const start of [undefined, "", " ", "cdn.test; a=1", 'x; y="', ",,"]) {
    let field = start;
    for (let pass = 1; pass <= 3; pass++) {
      expect(() => checkLoop(field)).not.toThrow();
      field = addPass(field);
    }
    expect(() => checkLoop(field)).toThrow("request loop detected");
  }
});
