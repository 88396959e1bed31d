from .cli.main import main

if __name__ == "__main__":  # a spawned worker imports this file too, and must not run it
    main()
