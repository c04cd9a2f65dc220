// For `node --require`: names below apps.test lead to this machine, as in the tests' browser.
const dns = require("node:dns");

const lookup = dns.lookup;
dns.lookup = (name, ...rest) => lookup(/\.apps\.test$/.test(name) ? "127.0.0.1" : name, ...rest);
const lookupLater = dns.promises.lookup;
dns.promises.lookup = (name, ...rest) => lookupLater(/\.apps\.test$/.test(name) ? "127.0.0.1" : name, ...rest);
