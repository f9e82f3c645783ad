import { playLife } from "./zz-rf.ts";
console.log(await playLife(Number(process.argv[2]), process.argv[3] === "c"));
