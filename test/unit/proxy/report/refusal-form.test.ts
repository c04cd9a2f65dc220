import { expect, test } from "bun:test";

import { chooseForm, type RefusalForm } from "../../../../src/proxy/report/refusal-form.ts";

const CHROME = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
const PROBLEM = "application/problem+json";

const formOf = (headers: Record<string, string>, method = "GET"): RefusalForm =>
  chooseForm(new Request("http://x/", { headers, method }));

test.each([
  // curl, SDKs, axios, nothing at all.
  [{}, "text"],
  [{ accept: "" }, "text"],
  [{ accept: "*/*" }, "text"],
  [{ accept: "application/json, text/plain, */*" }, "text"],
  [{ accept: "application/json, text/*" }, "text"],
  [{ accept: "application/json, */*;q=0.1" }, "text"],
  [{ accept: "image/png" }, "text"],
  [{ accept: "text/plain, text/html" }, "text"],
  [{ accept: "text/html;q=0.5, text/plain" }, "text"],
  // Programs that ask for JSON.
  [{ accept: PROBLEM }, "problem"],
  [{ accept: "Application/Problem+JSON ; q=0.4" }, "problem"],
  [{ accept: `${PROBLEM}, text/plain` }, "problem"],
  [{ accept: `${PROBLEM}, */*` }, "problem"],
  [{ accept: `${PROBLEM};q=0.5, text/plain` }, "text"],
  [{ accept: `${PROBLEM};q=0` }, "text"],
  [{ accept: "application/json" }, "problem"],
  [{ accept: "application/json, text/plain;q=0, */*;q=0.0" }, "problem"],
  [{ accept: "application/json;q=0" }, "text"],
  // Browsers.
  [{ accept: CHROME }, "page"],
  [{ accept: CHROME, "sec-fetch-mode": "navigate" }, "page"],
  [{ accept: "*/*", "sec-fetch-mode": "navigate" }, "page"],
  [{ accept: CHROME, "sec-fetch-mode": "cors" }, "text"],
  [{ accept: PROBLEM, "sec-fetch-mode": "cors" }, "problem"],
  [{ accept: "text/html" }, "page"],
  [{ accept: "text/html;q=0" }, "text"],
] as const)("chooseForm answers %j with %s", (headers, form) => {
  expect(formOf(headers)).toBe(form);
});

test("chooseForm chooses a page only for GET and HEAD", () => {
  const headers = { accept: CHROME, "sec-fetch-mode": "navigate" };
  expect(["GET", "HEAD", "POST", "PUT", "OPTIONS"].map((method) => formOf(headers, method))).toEqual([
    "page",
    "page",
    "text",
    "text",
    "text",
  ]);
});

test("chooseForm reads only the first 32 ranges", () => {
  const ranges = (before: number): string => [...Array.from({ length: before }, () => "a/b"), PROBLEM].join(",");
  expect(formOf({ accept: ranges(31) })).toBe("problem");
  expect(formOf({ accept: ranges(32) })).toBe("text");
});
