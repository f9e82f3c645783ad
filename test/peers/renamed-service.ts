/** A service under a name that no server has. */
import type { DescMethod, DescService } from "@bufbuild/protobuf";

/** The same methods, whose `parent` is the renamed service. */
export function renamedService<S extends DescService>(service: S, typeName: string): S {
  const copy = Object.create(service) as S;
  const methods: DescMethod[] = service.methods.map((method) => ({ ...method, parent: copy }) as DescMethod);
  const own = {
    typeName,
    name: typeName.slice(typeName.lastIndexOf(".") + 1),
    methods,
    method: Object.fromEntries(methods.map((method) => [method.localName, method])),
  };
  for (const [key, value] of Object.entries({ ...service, ...own }))
    Object.defineProperty(copy, key, { value, enumerable: true });
  return copy;
}
