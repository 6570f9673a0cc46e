"""Does archive's work for the datasets of some notifications, as a script with requests does it.

Usage: archive.py PORTAL TOKEN DIRECTORY THREADS < notifications, one JSON object a line

Each file is hashed while it is streamed to a temporary one, which is renamed; each dataset is told about its files with
one package_revise.
"""

import concurrent.futures
import hashlib
import json
import os
import sys
import threading

import requests

CHUNK_BYTES = 64 * 1024
TIMEOUT = 30


class Archiver:
    def __init__(self, portal, token, directory):
        self.portal = portal
        self.headers = {"Authorization": token}
        self.directory = directory
        self.local = threading.local()

    @property
    def session(self):
        # A session keeps its connections, and is not for several threads.
        if not hasattr(self.local, "session"):
            self.local.session = requests.Session()
        return self.local.session

    def archive(self, dataset_id):
        answer = self.session.get(
            f"{self.portal}/api/3/action/package_show",
            params={"id": dataset_id},
            headers=self.headers,
            timeout=TIMEOUT,
        )
        answer.raise_for_status()
        revision = {"match": {"id": dataset_id}}
        for resource in answer.json()["result"]["resources"]:
            revision[f"update__resources__{resource['id']}"] = self.fetch(resource)
        answer = self.session.post(
            f"{self.portal}/api/3/action/package_revise",
            json=revision,
            headers=self.headers,
            timeout=TIMEOUT,
        )
        answer.raise_for_status()

    def fetch(self, resource):
        place = os.path.join(self.directory, resource["id"][:2], resource["id"])
        os.makedirs(place, exist_ok=True)
        path = os.path.join(place, "file")
        digest, size = hashlib.sha256(), 0
        with self.session.get(resource["url"], stream=True, timeout=TIMEOUT) as answer:
            answer.raise_for_status()
            with open(path + ".part", "wb") as part:
                for chunk in answer.iter_content(CHUNK_BYTES):
                    digest.update(chunk)
                    part.write(chunk)
                    size += len(chunk)
            mimetype = answer.headers.get("Content-Type", "").split(";")[0]
        os.replace(path + ".part", path)
        return {"hash": digest.hexdigest(), "size": size, "mimetype": mimetype}


def main(portal, token, directory, threads):
    archiver = Archiver(portal, token, directory)
    ids = [json.loads(line)["payload"]["id"] for line in sys.stdin]
    with concurrent.futures.ThreadPoolExecutor(int(threads)) as pool:
        # The first that fails ends it.
        for _ in pool.map(archiver.archive, ids):
            pass


if __name__ == "__main__":
    main(*sys.argv[1:])
