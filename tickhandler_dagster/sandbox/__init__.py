"""A Tardis-compatible server over a simulated market or a folder of files, with faults.

What belongs here: everything that stands in for the vendor in the demo and in tests. What does not:
anything the platform itself runs on; nothing outside the command line and the tests imports this
package.
"""
