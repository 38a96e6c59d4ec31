import layshaft

worker = layshaft.Worker()  # LAYSHAFT_CLUSTER, or 127.0.0.1:7070


@worker.handle("reverse")
def reverse(text: str) -> str:
    return text[::-1]


if __name__ == "__main__":
    worker.run()
