/** Holdfast and Debian's python3-grpcio (C-core), both ways. */
import { holdfast } from "../peers/holdfast.ts";
import { findPython, python } from "../peers/python.ts";
import { skipWithout } from "../peers/tools.ts";
import { probeSuite } from "./suite.ts";

const skip = skipWithout(findPython() !== undefined, "test/peers/build.sh python");
probeSuite(holdfast, python, skip);
probeSuite(python, holdfast, skip);
