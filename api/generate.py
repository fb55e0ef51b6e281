"""Makes the hub's route table and request decoders from the contract.

    generate.py openapi.yaml FOLDER    writes routes.h, routes.c, requests.h and requests.c

The same contract gives the same bytes, everywhere and always. What is not understood stops the build.
Needs Python's standard library and PyYAML.
"""

import os
import sys

from contract import Contract
from emit_requests import Requests
from emit_routes import Routes
from strict_yaml import ContractError, read


def generate(document):
    """The text of an openapi.yaml -> {file name: its text}."""
    contract = Contract(read(document))
    requests = Requests(contract)
    routes = Routes(contract, requests)
    return {'routes.h': routes.header(), 'routes.c': routes.source(),
            'requests.h': requests.header(), 'requests.c': requests.source()}


def main(arguments):
    if len(arguments) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    with open(arguments[1], encoding='utf-8') as file:
        document = file.read()
    try:
        outputs = generate(document)
    except ContractError as error:
        print(f'{arguments[1]}: {error}', file=sys.stderr)
        return 1
    for name, contents in outputs.items():
        with open(os.path.join(arguments[2], name), 'w', encoding='utf-8', newline='\n') as file:
            file.write(contents)
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
